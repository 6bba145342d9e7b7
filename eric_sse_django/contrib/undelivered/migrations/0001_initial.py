import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("eric_sse_django", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Absence",
            fields=[
                (
                    "listener",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="absence",
                        serialize=False,
                        to="eric_sse_django.listener",
                        verbose_name="listener",
                    ),
                ),
                ("cursor", models.BigIntegerField(verbose_name="cursor")),
                ("notified_at", models.DateTimeField(null=True, verbose_name="notified")),
            ],
            options={
                "verbose_name": "absence",
                "verbose_name_plural": "absences",
                "base_manager_name": "objects",
            },
        ),
    ]
