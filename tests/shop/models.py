"""Models that publish their changes, as a project's do."""

from django.db import models
from django.db.models import F

from eric_sse_django.broadcasts import Broadcast, Broadcasts, broadcasts


class Customer(models.Model):
    name = models.CharField(max_length=20)


class OrderQuerySet(models.QuerySet["Order"]):
    def open(self):
        return self.filter(is_open=True)


@broadcasts("orders", fields=["number", "total", "is_open", "customer_id"])
class Order(models.Model):
    number = models.CharField(max_length=20, unique=True)
    total = models.IntegerField(default=0)
    is_open = models.BooleanField(default=True)
    customer = models.ForeignKey(Customer, models.SET_NULL, null=True, related_name="orders")

    objects = OrderQuerySet.as_manager()

    def add(self, amount):
        self.total = F("total") + amount
        self.save()


class Line(Broadcasts, models.Model):
    """Each customer has a channel; a line without one is in none. Lines go with their order."""

    broadcasts = Broadcast(
        lambda line: f"customer-{line.customer_id}",
        fields=["text", "customer_id"],
        when=lambda line: line.customer_id is not None,
    )

    text = models.CharField(max_length=20)
    customer = models.ForeignKey(Customer, models.CASCADE, null=True, related_name="lines")


class Cheap(Order):
    """A proxy."""

    class Meta:
        proxy = True
