import core.clock
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0001_initial'),
        ('tenants', '0004_labels'),
    ]

    operations = [
        migrations.CreateModel(
            name='ModelListing',
            fields=[
                ('credential', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='listing', serialize=False, to='tenants.credential')),
                ('version', models.CharField(help_text='Of the credential that was asked with.', max_length=16)),
                ('entries', models.JSONField(default=list)),
                ('complete', models.BooleanField(default=True, help_text="Whether the upstream's list was read to its end.")),
                ('listed_at', models.DateTimeField(default=core.clock.now)),
                ('job', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='jobs.job')),
            ],
            options={
                'default_permissions': (),
            },
        ),
    ]
