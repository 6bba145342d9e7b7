import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import eric_sse_django.contrib.webhooks.models
import eric_sse_django.contrib.webhooks.signing


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("eric_sse_django", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Endpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "url",
                    models.CharField(
                        max_length=2048,
                        validators=[eric_sse_django.contrib.webhooks.models.check_url],
                        verbose_name="URL",
                    ),
                ),
                (
                    "types",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Only messages of these types are posted; [] for all.",
                        validators=[eric_sse_django.contrib.webhooks.models.check_types],
                        verbose_name="types",
                    ),
                ),
                (
                    "secret",
                    models.CharField(
                        default=eric_sse_django.contrib.webhooks.signing.new_secret,
                        editable=False,
                        max_length=128,
                        verbose_name="secret",
                    ),
                ),
                (
                    "previous_secret",
                    models.CharField(
                        blank=True, editable=False, max_length=128, verbose_name="previous secret"
                    ),
                ),
                (
                    "attempts",
                    models.PositiveIntegerField(
                        default=0, editable=False, verbose_name="attempts"
                    ),
                ),
                ("attempted", models.BigIntegerField(default=0, editable=False)),
                (
                    "next_attempt_at",
                    models.DateTimeField(editable=False, null=True, verbose_name="next attempt"),
                ),
                (
                    "last_status",
                    models.PositiveIntegerField(
                        editable=False, null=True, verbose_name="last status"
                    ),
                ),
                (
                    "last_error",
                    models.CharField(
                        blank=True, editable=False, max_length=255, verbose_name="last error"
                    ),
                ),
                (
                    "accepted_at",
                    models.DateTimeField(editable=False, null=True, verbose_name="last accepted"),
                ),
                ("checked", models.BigIntegerField(default=0, editable=False)),
                ("lease", models.CharField(blank=True, editable=False, max_length=128)),
                ("lease_until", models.DateTimeField(editable=False, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "listener",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="webhook",
                        to="eric_sse_django.listener",
                        verbose_name="listener",
                    ),
                ),
            ],
            options={
                "verbose_name": "endpoint",
                "verbose_name_plural": "endpoints",
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.BigIntegerField(verbose_name="position")),
                ("type", models.CharField(max_length=255, verbose_name="type")),
                ("body", models.TextField(verbose_name="body")),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                (
                    "last_status",
                    models.PositiveIntegerField(null=True, verbose_name="last status"),
                ),
                (
                    "last_error",
                    models.CharField(blank=True, max_length=255, verbose_name="last error"),
                ),
                (
                    "failed_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="failed at"
                    ),
                ),
                (
                    "again_at",
                    models.DateTimeField(db_index=True, null=True, verbose_name="sent again from"),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="dead_letters",
                        to="eric_sse_webhooks.endpoint",
                        verbose_name="endpoint",
                    ),
                ),
            ],
            options={
                "verbose_name": "dead letter",
                "verbose_name_plural": "dead letters",
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("endpoint", "position"), name="eric_dead_letter"
                    )
                ],
            },
        ),
    ]
