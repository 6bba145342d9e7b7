"""
Webhooks: an app whose listeners get their messages by POST requests, signed and in order.

    INSTALLED_APPS += ["eric_sse_django.contrib.webhooks"]

    from eric_sse_django.contrib.webhooks.endpoints import register

    endpoint = register("orders", "https://partner.example/hooks/orders")
    endpoint.secret  # the receiver checks the signatures with it

`python manage.py eric_webhooks` sends them, in one or more processes. The headers are those of
Standard Webhooks (https://www.standardwebhooks.com/), for which there are libraries that check
the signature in many languages.
"""
