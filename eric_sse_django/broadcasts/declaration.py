"""What a model publishes: the channels, owners and content of its messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import models

from eric_sse_django import hypermedia
from eric_sse_django.database.arguments import channel_id_of, owner_key

ALL_FIELDS = "__all__"

# What happened to a row: the end of the message's type.
CREATED, CHANGED, DELETED, RELOAD = "created", "changed", "deleted", "reload"


class Recipient(NamedTuple):
    """A channel's id, and the key of an owner, None for all listeners."""

    channel: str
    owner: Any = None


class Content(NamedTuple):
    """The type and payload of a message, and whether it makes pages load rows again."""

    type: str
    payload: Any
    loads_rows: bool = False


class Broadcast:
    """
    One declaration: the messages about the rows of a model.

    `channel` is an id, or a function from a row to one; such a channel is created when it is
    first needed. With `owner` (a function from a row to a user, or the name of its field) only
    the listeners of that user get the messages; a row without an owner is not published. `when`
    is a function from a row to whether it is in the channel at all.

    One of these is the content: `fields` (names, or "__all__"), a `serializer` (a class of
    Django REST framework or a schema of Django Ninja, or a function from a row to a payload), a
    `template` that is rendered for a `target` of the page, or `refresh`: pages fetch the
    `target` again, once for each transaction. Without content, a message has the row's key only.
    """

    def __init__(
        self,
        channel: Any,
        *,
        fields: Sequence[str] | str | None = None,
        serializer: Any = None,
        template: str | None = None,
        target: str | None = None,
        refresh: bool = False,
        owner: Callable[[Any], Any] | str | None = None,
        when: Callable[[Any], bool] | None = None,
        name: str | None = None,
        library: str | None = None,
    ) -> None:
        given = [each for each in (fields, serializer, template, refresh or None) if each]
        if len(given) > 1:
            raise ImproperlyConfigured("Give one of fields, serializer, template and refresh.")
        if template and not target:
            raise ImproperlyConfigured(
                f"The template {template!r} needs a target: the element that new rows are put in."
            )
        self.channel = channel if callable(channel) else channel_id_of(channel)
        self.fields = (fields,) if isinstance(fields, str) else tuple(fields or ())
        self.serializer, self.template, self.target = serializer, template, target
        self.refresh, self.when, self.library = refresh, when, library
        self.owner = _getter(owner) if isinstance(owner, str) else owner
        self.name = name

    @property
    def is_static(self) -> bool:
        """Whether all rows have the same recipients."""
        return isinstance(self.channel, str) and self.owner is None and self.when is None

    @property
    def as_html(self) -> bool:
        """Whether it publishes HTML, for the project's library."""
        return bool(self.template) or (self.refresh and bool(self._library()))

    def everyone(self) -> Recipient:
        """Return the recipients that all rows have. Raises ImproperlyConfigured without such."""
        if self.is_static:
            return Recipient(self.channel)
        raise ImproperlyConfigured(
            "This operation does not report which rows it changed, and the recipients depend on "
            "the row: use another operation, and publish_changed() after raw SQL."
        )

    def recipients(self, row: models.Model) -> tuple[Recipient, ...]:
        """Return the recipients of a row's messages, none if it is not published."""
        if self.is_static:
            return (self.everyone(),)
        if self.when is not None and not self.when(row):
            return ()
        channel = self.channel(row) if callable(self.channel) else self.channel
        if self.owner is None:
            return (Recipient(channel_id_of(channel)),)
        owner = self.owner(row)
        return () if owner is None else (Recipient(channel_id_of(channel), owner_key(owner)),)

    # Content --------------------------------------------------------------------------

    def saved(self, row: models.Model, is_new: bool) -> list[Content]:
        """Return the messages for a row that was created or changed."""
        if self.refresh:
            return self.reload(type(row))
        if self.template:
            return self._rendered(row, is_new)
        word = CREATED if is_new else CHANGED
        return [Content(self._type(type(row), word), self._payload(row))]

    def deleted(self, model: type[models.Model], key: Any) -> list[Content]:
        """Return the messages for a row that is not there any more, or not for its recipients."""
        if self.refresh:
            return self.reload(model)
        if self.template:
            library, target = self._library(), hypermedia.selector_of(dom_id(model, key))
            return _contents(hypermedia.operations(library, "remove", target))
        return [Content(self._type(model, DELETED), {"id": key})]

    def reload(self, model: type[models.Model]) -> list[Content]:
        """Return the messages that make a page load all rows again."""
        if self.as_html:
            found = hypermedia.operations(
                self._library(), "refresh", self.target, channel=self._place()
            )
            return _contents(found, loads_rows=True)
        return [Content(self._type(model, RELOAD), None, loads_rows=True)]

    def _rendered(self, row: models.Model, is_new: bool) -> list[Content]:
        element = hypermedia.selector_of(dom_id(type(row), row.pk))
        context = {"object": row, str(row._meta.model_name): row}
        html = hypermedia.render(str(self.template), context)
        library = self._library()
        if not is_new:
            return _contents(hypermedia.operations(library, "replace", element, html))
        # A page that was rendered meanwhile has the row already.
        return _contents(hypermedia.operations(library, "append", self.target, html, once=element))

    def _payload(self, row: models.Model) -> Any:
        if self.serializer is not None:
            return serialized(self.serializer, row)
        names = self.fields
        if names == (ALL_FIELDS,):
            names = tuple(field.attname for field in row._meta.concrete_fields)
        return {"id": row.pk, **{name: _value(row, name) for name in names}}

    def _type(self, model: type[models.Model], word: str) -> str:
        return f"{self.name or _concrete(model)._meta.model_name}-{word}"

    def _place(self) -> str:
        """Return the channel whose element fetches; "" for that of any."""
        return self.channel if isinstance(self.channel, str) else ""

    def _library(self) -> str:
        return hypermedia.library_of(self.library, is_needed=bool(self.template))


def _getter(path: str) -> Callable[[Any], Any]:
    """Return a function that follows attributes such as "customer.user", up to a None."""

    def get(row: Any) -> Any:
        for name in path.split("."):
            row = None if row is None else getattr(row, name)
        return row

    return get


def _contents(operations: list[hypermedia.Operation], loads_rows: bool = False) -> list[Content]:
    return [Content(each.type, each.text, loads_rows) for each in operations]


def dom_id(model: Any, key: Any = None) -> str:
    """Return the id of a row's element in a page: `order-7`."""
    return f"{_concrete(model)._meta.model_name}-{model.pk if key is None else key}"


def _concrete(model: Any) -> Any:
    return model._meta.concrete_model or model


def _value(row: models.Model, name: str) -> Any:
    """Return the value of a field or attribute, as a payload can hold it."""
    value = getattr(row, name)
    if isinstance(value, models.Model):
        return value.pk
    return value.name if isinstance(value, models.fields.files.FieldFile) else value


def serialized(serializer: Any, row: models.Model) -> Any:
    """Return what a serializer makes of a row: of DRF, of Ninja (pydantic), or a function."""
    if isinstance(serializer, type) and hasattr(serializer, "to_representation"):
        return serializer(row).data
    if isinstance(serializer, type) and hasattr(serializer, "model_dump"):
        schema: Any = serializer
        read = getattr(schema, "from_orm", None) or schema.model_validate
        return read(row).model_dump(mode="json")
    return serializer(row)
