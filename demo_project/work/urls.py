"""The URLs of the page of runs."""

from django.urls import path

from demo_project.work import views

app_name = "work"
urlpatterns = [
    path("", views.page, name="page"),
    path("state/", views.state, name="state"),
    path("ask/", views.ask, name="ask"),
    path("export/", views.export, name="export"),
    path("kill/", views.kill, name="kill"),
    path("<run_id>/stream/", views.stream, name="stream"),
    path("<run_id>/stop/", views.stop, name="stop"),
    path("<run_id>/log.csv", views.download, name="download"),
]
