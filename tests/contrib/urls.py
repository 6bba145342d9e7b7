"""The site of these tests: channels by Django REST framework, and a page that publishes."""

from django.http import HttpResponse
from django.urls import include, path
from rest_framework.routers import DefaultRouter

from eric_sse_django.contrib.drf.viewsets import ChannelViewSet
from eric_sse_django.message import Message
from eric_sse_django.shortcuts import apublish, channel, publish

router = DefaultRouter()
router.register("channels", ChannelViewSet, basename="channel")


def pay(request):
    publish("orders", "paid", {"secret": "x" * 1_000})
    channel("orders").broadcast_many([Message("a"), Message("b")])
    return HttpResponse("<html><body>paid</body></html>")


async def apay(request):
    await apublish("orders", "paid", 7)
    return HttpResponse("<html><body>paid</body></html>")


urlpatterns = [
    path("api/", include(router.urls)),
    path("pay/", pay),
    path("apay/", apay),
]
