"""path("metrics/", include("eric_sse_django.metrics.urls"))"""

from django.urls import path

from eric_sse_django.metrics import views

app_name = "eric_sse_metrics"

urlpatterns = [path("", views.metrics, name="metrics")]
