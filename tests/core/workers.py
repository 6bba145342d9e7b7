"""What a worker process imports: nothing but the core, so that it starts quickly."""

from eric_sse_django.listener import MessageQueueListener


class Doubler(MessageQueueListener):
    def on_message(self, msg):
        msg.payload["doubled"] = 2 * msg.payload["number"]
