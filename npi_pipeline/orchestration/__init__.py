"""The Dagster shell: assets, checks, jobs, schedules, sensors and resources. Only here Dagster is imported."""
