"""Looking after the days unasked: how the last days stand, which are due, which fail, and who is told.

Here the files of a day (``npi_pipeline.days``) and what Dagster's instance knows of its runs come together.
Not here: the schedules and sensors that ask (``schedules``, ``sensors``).
"""
