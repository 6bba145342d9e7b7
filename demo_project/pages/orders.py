"""The table: a model publishes its rows as HTML, bulk operations too."""

import random

from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from demo_project.pages.channels import ITEMS
from demo_project.pages.models import Order
from demo_project.pages.shown import shown

MAX_ORDERS = 12


@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    files = ["orders.py", "models.py", "orders.html", "row.html"]
    return shown(request, "orders", files, orders=Order.objects.order_by("pk"))


@require_POST
def change(request: HttpRequest) -> HttpResponse:
    """Change the table. No line of this publishes: the model does."""
    if "pay" in request.POST:
        Order.objects.filter(pk=request.POST["pay"]).update(is_paid=True)
    elif "raise" in request.POST:
        Order.objects.filter(is_paid=False).update(total=F("total") + 5)
    elif "archive" in request.POST:
        Order.objects.filter(is_paid=True).delete()
    elif Order.objects.count() < MAX_ORDERS:
        Order.objects.create(item=random.choice(ITEMS), total=random.randint(5, 99))
    return HttpResponse(status=204)
