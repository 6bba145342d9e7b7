"""The doctor: looks for what would lose, delay or cut streams, and names the next step."""

from eric_sse_django.doctor.examination import examine
from eric_sse_django.doctor.finding import ERROR, GOOD, NOTE, WARNING, Finding

__all__ = ["ERROR", "GOOD", "NOTE", "WARNING", "Finding", "examine"]
