"""
Django REST framework: rules as permissions, events as a format, and a viewset of channels.

    from rest_framework.routers import DefaultRouter
    from eric_sse_django.contrib.drf.viewsets import ChannelViewSet

    router = DefaultRouter()
    router.register("channels", ChannelViewSet, basename="channel")
"""
