"""Two plain answers: this process lives; this process delivers."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse

from eric_sse_django.health.parts import PARTS, examine
from eric_sse_django.views import plain


@plain
def live(request: HttpRequest) -> JsonResponse:
    """Answer 200: the process takes requests. Asks nothing else."""
    return JsonResponse({"live": True})


@plain
def ready(request: HttpRequest) -> JsonResponse:
    """
    Answer 200 when each part works, 503 when one does not, within TIMEOUT_S.

    `?exclude=layer` leaves a part out; 400 for one that there is not.
    """
    excluded = request.GET.getlist("exclude")
    unknown = sorted(set(excluded) - set(PARTS))
    if unknown:
        error = f"There is no part {unknown[0]!r}: exclude {', '.join(PARTS)}."
        return JsonResponse({"error": error}, status=400)
    parts = examine([name for name in PARTS if name not in excluded])
    is_ready = all(part.works for part in parts)
    said = {part.name: {"works": part.works, "says": part.says} for part in parts}
    response = JsonResponse({"ready": is_ready, "parts": said}, status=200 if is_ready else 503)
    # Else Django logs every 503 as an error, and mails it to the admins: one each probe.
    # What fails is logged once, by examine().
    vars(response)["_has_been_logged"] = True
    return response
