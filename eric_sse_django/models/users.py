"""Users, which may be in another database than the app's tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models, router
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor

from eric_sse_django.conf import database
from eric_sse_django.models.base import M


def remove_with_user(collector: Any, field: Any, sub_objs: Any, using: str) -> None:
    """Remove the user's rows if they are in the user's database, as CASCADE. An on_delete."""
    if using == database():
        # Not nullable: rows are deleted before their users, as immediate constraints require.
        collector.collect(
            sub_objs, source=field.remote_field.model, source_attr=field.name, nullable=False
        )


remove_with_user.lazy_sub_objs = True  # type: ignore[attr-defined]  # no query in another database


class _User(ForwardManyToOneDescriptor):  # type: ignore[type-arg]
    """Reads and accepts users of the users' database; a deleted user is None."""

    def get_queryset(self, **hints: Any) -> Any:
        # Explicit: otherwise Django queries the database of the row.
        return super().get_queryset(**hints).using(router.db_for_read(get_user_model()))

    def get_object(self, instance: Any) -> Any:
        """Return the user, or None: without a constraint another program can delete it."""
        try:
            return super().get_object(instance)
        except self.field.remote_field.model.DoesNotExist:
            return None

    def __set__(self, instance: Any, value: Any) -> None:
        if not isinstance(value, get_user_model()):
            super().__set__(instance, value)
            return
        # Django refuses a relation between databases unless a router allows it.
        setattr(instance, self.field.attname, value.pk)
        self.field.set_cached_value(instance, value)


class UserKey(models.ForeignKey):  # type: ignore[type-arg]
    """
    A user's key, without a constraint in the database: users may be in another one.

    By default the row is deleted with the user: by remove_with_user() in one database, by
    database.orphans.on_user_deleted() in two.
    """

    forward_related_accessor_class = _User

    def __init__(self, *, on_delete: Any = remove_with_user, **options: Any) -> None:
        options |= {"to": settings.AUTH_USER_MODEL, "related_name": "+", "db_constraint": False}
        super().__init__(on_delete=on_delete, **options)

    def deconstruct(self) -> Any:
        """Return a plain foreign key: migrations need no more."""
        name, _, args, options = super().deconstruct()
        return (
            name,
            "django.db.models.ForeignKey",
            args,
            options | {"on_delete": models.DO_NOTHING},
        )

    def validate(self, value: Any, model_instance: Any) -> None:
        """As ForeignKey.validate(), but in the users' database."""
        super().validate(value, type(model_instance)())


def users_are_here() -> bool:
    """Whether users are in the log's database, so that a query can join them."""
    return router.db_for_write(get_user_model()) == database()


def with_user(rows: models.QuerySet[M], name: str) -> models.QuerySet[M]:
    """Return the rows with their users: one query, or two for two databases."""
    return rows.select_related(name) if users_are_here() else rows.prefetch_related(name)


def user_key(user: Any) -> Any:
    """
    Return the key of a user (an object, or the key); None for an object that is not saved.

    No query. Raises TypeError for other values.
    """
    users = get_user_model()
    if isinstance(user, models.Model) and not isinstance(user, users):
        raise TypeError(f"{user!r} is not a user ({users._meta.label}): give one, or a key.")
    if hasattr(user, "pk"):
        return user.pk
    if isinstance(user, (str, int, UUID)) and not isinstance(user, bool):
        try:
            return users._meta.pk.to_python(user)
        except ValidationError:
            pass
    raise TypeError(f"{user!r} is not a user ({users._meta.label}), nor the key of one.")


def usernames(keys: Iterable[Any]) -> dict[Any, str]:
    """Return the names of existing users by their keys. One query, or none for no keys."""
    users = get_user_model()
    wanted = {key for key in keys if key is not None}
    if not wanted:
        return {}
    rows = users._base_manager.filter(pk__in=wanted)
    return dict(rows.values_list("pk", users.USERNAME_FIELD))


def users_named(names: Iterable[str]) -> dict[str, Any]:
    """Return the keys of the users with these names, by name. One query."""
    users = get_user_model()
    rows = users._base_manager.filter(**{f"{users.USERNAME_FIELD}__in": list(names)})
    return dict(rows.values_list(users.USERNAME_FIELD, "pk"))
