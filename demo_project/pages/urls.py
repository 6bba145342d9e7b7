"""The URLs of the pages of ideas."""

from django.urls import path

from demo_project.pages import chat, dashboard, inbox, notifications, orders

app_name = "pages"
urlpatterns = [
    path("inbox/", inbox.page, name="inbox"),
    path("inbox/send/", inbox.send, name="inbox-send"),
    path("chat/", chat.page, name="chat"),
    path("chat/send/", chat.send, name="chat-send"),
    path("chat/typing/", chat.typing, name="chat-typing"),
    path("dashboard/", dashboard.page, name="dashboard"),
    path("orders/", orders.page, name="orders"),
    path("orders/change/", orders.change, name="orders-change"),
    path("notifications/", notifications.page, name="notifications"),
    path("notifications/send/", notifications.send, name="notifications-send"),
    path("notifications/read/", notifications.read, name="notifications-read"),
]
