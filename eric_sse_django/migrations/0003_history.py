from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("eric_sse_django", "0002_leave_and_lifetime"),
    ]

    operations = [
        migrations.AddField(
            model_name="listener",
            name="replays",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="loghead",
            name="identity",
            field=models.CharField(db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="loghead",
            name="marked",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="loghead",
            name="marked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="loghead",
            name="trimmed",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
    ]
