import copy
from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Waits 5 s at most for the lock on users, for all that reads them waits behind it.
LOCK_TIMEOUT = {
    "postgresql": "SET LOCAL lock_timeout = 5000",
    "mysql": "SET SESSION lock_wait_timeout = 5",
}


def drop_constraints(apps: Any, schema_editor: Any) -> None:
    """
    Drop the constraints on users that the first versions made, where they are.

    The first migration makes none any more: users may be in another database. PostgreSQL and
    MariaDB only forget the constraint, however large the tables are; SQLite copies the table.
    """
    connection = schema_editor.connection
    if connection.vendor in LOCK_TIMEOUT:
        schema_editor.execute(LOCK_TIMEOUT[connection.vendor])
    for name, key in (("Listener", "owner"), ("ApiToken", "user")):
        model = apps.get_model("eric_sse_django", name)
        field = model._meta.get_field(key)
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, model._meta.db_table)
        if any(one["foreign_key"] and field.column in one["columns"] for one in found.values()):
            before = copy.copy(field)
            before.db_constraint = True
            schema_editor.alter_field(model, before, field)


class Migration(migrations.Migration):
    dependencies = [
        ("eric_sse_django", "0004_presence"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="apitoken",
            options={
                "base_manager_name": "objects",
                "verbose_name": "API token",
                "verbose_name_plural": "API tokens",
            },
        ),
        migrations.AlterModelOptions(
            name="channel",
            options={
                "base_manager_name": "objects",
                "permissions": [
                    ("publish_channel", "Can publish to channels and their listeners")
                ],
                "verbose_name": "channel",
                "verbose_name_plural": "channels",
            },
        ),
        migrations.AlterModelOptions(
            name="listener",
            options={
                "base_manager_name": "objects",
                "permissions": [
                    ("operate_listener", "Can start, stop, disconnect, skip and replay listeners"),
                    ("sign_listener", "Can make signed stream URLs of listeners"),
                ],
                "verbose_name": "listener",
                "verbose_name_plural": "listeners",
            },
        ),
        migrations.AlterModelOptions(
            name="loghead",
            options={
                "base_manager_name": "objects",
                "verbose_name": "head of the log",
                "verbose_name_plural": "head of the log",
            },
        ),
        migrations.AlterModelOptions(
            name="openstream",
            options={
                "base_manager_name": "objects",
                "verbose_name": "open stream",
                "verbose_name_plural": "open streams",
            },
        ),
        migrations.AlterModelOptions(
            name="presentlistener",
            options={
                "base_manager_name": "objects",
                "verbose_name": "present listener",
                "verbose_name_plural": "present listeners",
            },
        ),
        migrations.AlterModelOptions(
            name="publishreceipt",
            options={
                "base_manager_name": "objects",
                "default_permissions": (),
                "verbose_name": "publish receipt",
                "verbose_name_plural": "publish receipts",
            },
        ),
        migrations.AlterModelOptions(
            name="queuedmessage",
            options={
                "base_manager_name": "objects",
                "verbose_name": "message",
                "verbose_name_plural": "messages",
            },
        ),
        migrations.AlterModelOptions(
            name="revocation",
            options={
                "base_manager_name": "objects",
                "verbose_name": "revocation",
                "verbose_name_plural": "revocations",
            },
        ),
        migrations.AlterModelOptions(
            name="serverprocess",
            options={
                "base_manager_name": "objects",
                "verbose_name": "server process",
                "verbose_name_plural": "server processes",
            },
        ),
        migrations.AlterModelOptions(
            name="watchers",
            options={
                "base_manager_name": "objects",
                "verbose_name": "watchers",
                "verbose_name_plural": "watchers",
            },
        ),
        migrations.AlterField(
            model_name="apitoken",
            name="user",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="user",
            ),
        ),
        migrations.AlterField(
            model_name="listener",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="owner",
            ),
        ),
        migrations.AlterField(
            model_name="publishreceipt",
            name="user",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        # Backwards nothing: the version before needs no constraint, and rows of users that were
        # deleted meanwhile would not let it be made.
        migrations.RunPython(drop_constraints, migrations.RunPython.noop, atomic=False),
    ]
