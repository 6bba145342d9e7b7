"""
django-unfold: its form fields and buttons on the admin pages of this app and its integrations.

    INSTALLED_APPS = ["unfold", "django.contrib.admin", ..., "eric_sse_django.contrib.unfold"]

Put it last: it changes what the apps before it have registered.
"""
