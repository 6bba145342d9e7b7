"""path("health/", include("eric_sse_django.health.urls"))"""

from django.urls import path

from eric_sse_django.health import views

app_name = "eric_sse_health"

urlpatterns = [
    path("live/", views.live, name="live"),
    path("ready/", views.ready, name="ready"),
]
