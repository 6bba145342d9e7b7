"""The names of channels by their keys, for what shows to which channels messages went."""

from __future__ import annotations

from eric_sse_django.instruments import Publication
from eric_sse_django.models import Channel

# Names that are remembered: with more, all are forgotten.
MAX_KNOWN = 1_000

_known: dict[int, str] = {}


def names_of(publication: Publication) -> dict[int, str]:
    """
    Return the ids of a publication's channels, by their keys. No query, or one.

    As this process read them first: a channel that was renamed since has its earlier id.
    """
    wanted = {message.channel for message in publication.messages}
    if publication.channel_id is not None:
        return dict.fromkeys(wanted, publication.channel_id)
    unknown = wanted - _known.keys()
    if unknown:
        if len(_known) + len(unknown) > MAX_KNOWN:
            _known.clear()
            unknown = wanted
        _known.update(Channel.objects.filter(pk__in=unknown).values_list("pk", "name"))
    return {key: _known.get(key, str(key)) for key in wanted}
