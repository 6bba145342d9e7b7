"""A Celery app for a real worker process: its tasks publish."""

import os

import django
from celery import Celery
from django.db import transaction

django.setup()

from eric_sse_django.contrib.celery import install, report_states  # noqa: E402
from eric_sse_django.shortcuts import publish  # noqa: E402

where = os.environ["ERIC_SSE_TEST_BROKER"]
app = Celery("shop", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": f"{where}/broker",
    "data_folder_out": f"{where}/broker",
    "control_folder": f"{where}/control",
    "polling_interval": 0.05,
}
app.conf.task_ignore_result = True
install()
report = report_states("tasks", names=["shop.pay", "shop.fail"])


@app.task(name="shop.pay")
def pay(number):
    with transaction.atomic():  # so that it has no position at once
        publish("orders", "paid", number)


@app.task(name="shop.fail")
def fail():
    raise ValueError("it always fails")
