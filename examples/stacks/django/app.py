"""A web API on the table of ../../orders.sql, with Django.

    apt install python3-django python3-psycopg2 python3-waitress
    PGDATABASE=orders PGUSER=app PORT=8080 python3 app.py

    curl -H "X-API-Key: $KEY" localhost:8080/orders

README.md beside the directory says what it answers to.
"""

import json
import math
import os
import re
import signal
import sys

import django
from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, connection, models, transaction
from django.http import Http404, HttpResponse, JsonResponse
from django.urls import path
from django.views import View
from django.views.decorators.debug import sensitive_variables
from waitress import create_server

settings.configure(
    # HOST, PORT and USER are those of libpq's environment
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql",
                           "NAME": os.environ.get("PGDATABASE", "orders"), "CONN_MAX_AGE": None}},
    MIDDLEWARE=[__name__ + ".Transaction"], ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"], USE_TZ=True,
    LOGGING={"version": 1, "handlers": {"console": {"class": "logging.StreamHandler"}},
             "loggers": {"django": {"handlers": ["console"], "level": "ERROR"}}})
django.setup()


@sensitive_variables("key")
def log_in(key):
    """Log in for the transaction.  By the driver's own cursor: with DEBUG, Django's keeps and
    logs each statement, and this one has the key in it."""
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute("SELECT label FROM apikey_login(%s)", [key])


class Transaction:
    """Middleware: each view is a transaction of the bearer of the request's key.  The last of
    all, since those behind it do not get to see the view."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        if view in WITHOUT_KEY:
            return None
        for again in True, True, False:
            try:
                with transaction.atomic():
                    log_in(request.headers.get("X-API-Key"))
                    return view(request, *args, **kwargs)
            except DatabaseError as error:
                if again and state_of(error) in ("40001", "40P01"):
                    continue
                refused = refusal(error)
                if not refused:
                    raise
                status, body, headers = refused
                return JsonResponse(body, status=status, headers=headers)


# What the errors of apikey and of its policies mean in HTTP.
STATUS = {"28000": 401, "42501": 403, "42704": 404, "53400": 429, "53B00": 429}


def state_of(error):
    """Some errors are Django's own and have none.  psycopg2 has another name for it than
    psycopg 3, which Django takes from 4.2 on where it is."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""


def refusal(error):
    """Status, body and headers for an error of the database that is the caller's; else
    None."""
    state, diag = state_of(error), getattr(error.__cause__, "diag", None)
    status = STATUS.get(state, 400 if state[:2] in ("22", "23") else None)
    if status is None or diag.source_function == "aclcheck_error":
        return None  # a missing GRANT is not the caller's
    wait = re.search(r"retry_after=([\d.]+)", diag.message_detail or "")
    return (status, {"error": diag.message_primary, "code": state},
            {"Retry-After": math.ceil(float(wait[1]))} if status == 429 and wait else {})


class Order(models.Model):
    project = models.TextField()
    environment = models.TextField()
    item = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "orders"
        db_table = "orders"
        managed = False


def body_of(request, kind, nothing=None):
    try:
        body = json.loads(request.body) if request.body else nothing
    except ValueError:
        raise BadRequest("the body is not JSON")
    if not isinstance(body, kind):
        raise BadRequest(f"the body is to be a {kind.__name__}")
    return body


def text_of(body, name):
    value = body.get(name) if isinstance(body, dict) else None
    # of a text with a NUL a driver makes an error of its own
    if not isinstance(value, str) or "\0" in value:
        raise BadRequest(f"{name} is missing, or no text")
    return value


def order_of(body):
    return Order(**{name: text_of(body, name) for name in ("project", "environment", "item")})


def limit_of(request):
    limit = request.GET.get("limit", "50")
    if not re.fullmatch("[1-9][0-9]?|100", limit):
        raise BadRequest("the limit is 1 to 100")
    return int(limit)


def page(name, rows, limit, cursor):
    return JsonResponse({name: rows[:limit],
                         "next": cursor(rows[limit - 1]) if len(rows) > limit else None})


def query(sql, *parameters):
    """The rows, each as a dict."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def health(request):
    """Without a log-in there are no rows."""
    return JsonResponse({"orders": Order.objects.count()})


class Me(View):
    def get(self, request):
        return JsonResponse(
            query("SELECT organization, label, organization_level FROM apikey_whoami()")[0])


class Orders(View):
    def get(self, request):
        limit = limit_of(request)
        cursor = (request.GET.get("after", "infinity,0") + ",").split(",")[:2]
        orders = Order.objects.order_by("-created_at", "-id").extra(
            where=["(created_at, id) < (%s::timestamptz, %s::int)"], params=cursor)[:limit + 1]
        # not left to JsonResponse, which cuts times off at milliseconds
        rows = [{"id": order.id, "project": order.project, "environment": order.environment,
                 "item": order.item, "created_at": order.created_at.isoformat()}
                for order in orders]
        return page("orders", rows, limit, lambda row: f"{row['created_at']},{row['id']}")

    def post(self, request):
        """An order costs one of the key's budget, if it has any."""
        order = order_of(body_of(request, dict))
        query("SELECT apikey_spend()")
        order.save()
        return JsonResponse({"id": order.id}, status=201)


class Import(View):
    def post(self, request):
        """What is refused is left out: each order has a savepoint."""
        results = []
        for order in map(order_of, body_of(request, list)):
            try:
                with transaction.atomic():
                    order.save()
                results.append({"id": order.id})
            except DatabaseError as error:
                refused = refusal(error)
                if not refused:
                    raise
                results.append(refused[1])
        return JsonResponse(results, safe=False)


class OneOrder(View):
    def patch(self, request, order_id):
        """Not by save(), which adds an order where it changes none."""
        item = text_of(body_of(request, dict), "item")
        orders = Order.objects.extra(where=["id = %s::int"], params=[order_id])
        if not orders.update(item=item):
            raise Http404
        return JsonResponse({"id": int(order_id)})


class Keys(View):
    def get(self, request):
        limit = limit_of(request)
        rows = query("""
            SELECT key_id, label, key, status,
                (SELECT coalesce(json_agg(json_build_object('project', project,
                    'environment', environment, 'level', level)), '[]')
                 FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
            FROM apikey_keys AS k
            WHERE organization = (SELECT organization FROM apikey_whoami())
                AND key_id < %s::uuid
            ORDER BY k.key_id DESC LIMIT %s
            """, request.GET.get("after", "ffffffff-ffff-ffff-ffff-ffffffffffff"), limit + 1)
        return page("keys", rows, limit, lambda row: row["key_id"])

    def post(self, request):
        body = body_of(request, dict)
        return JsonResponse(query("""
            SELECT made.key_id, made.key
            FROM apikey_whoami() AS me, apikey_create(me.organization, %s, %s::jsonb) AS made
            """, text_of(body, "label"), json.dumps(body.get("grants", [])))[0], status=201)


class OneKey(View):
    def delete(self, request, key_id):
        query("SELECT apikey_revoke(%s::uuid)", key_id)
        return HttpResponse(status=204)


class Rotation(View):
    def post(self, request, key_id):
        overlap = text_of({"overlap": "0", **body_of(request, dict, {})}, "overlap")
        return JsonResponse(query(
            "SELECT key_id, key FROM apikey_rotate(%s::uuid, %s::interval)", key_id, overlap)[0])


WITHOUT_KEY = [health]
urlpatterns = [
    path("health", health),
    path("me", Me.as_view()),
    path("orders", Orders.as_view()),
    path("orders/import", Import.as_view()),
    path("orders/<order_id>", OneOrder.as_view()),
    path("keys", Keys.as_view()),
    path("keys/<key_id>", OneKey.as_view()),
    path("keys/<key_id>/rotate", Rotation.as_view()),
]


def handler400(request, exception):
    return JsonResponse({"error": str(exception)}, status=400)


def handler404(request, exception):
    return JsonResponse({"error": "not found"}, status=404)


def handler500(request):
    return JsonResponse({"error": "internal error"}, status=500)


# Each thread has a connection to the database.
server = create_server(get_wsgi_application(), host="127.0.0.1",
                       port=int(os.environ.get("PORT", 8080)), threads=4)
signal.signal(signal.SIGTERM, lambda *args: sys.exit())
print(f"listening on http://127.0.0.1:{server.effective_port}", flush=True)
server.run()
