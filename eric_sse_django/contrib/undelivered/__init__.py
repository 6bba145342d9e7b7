"""
Undelivered: a signal for listeners whose messages have waited for long, to send an e-mail or push.

    INSTALLED_APPS += ["eric_sse_django.contrib.undelivered"]

    from django.dispatch import receiver
    from eric_sse_django.contrib.undelivered.signals import undelivered

    @receiver(undelivered)
    def remind(sender, listener, messages, **kwargs):
        if listener.owner:
            listener.owner.email_user("You have messages", f"{len(messages)} wait for you.")

`python manage.py eric_undelivered --after 15m`, each minute, sends the signals.
"""
