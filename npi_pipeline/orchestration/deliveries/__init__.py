"""Deliveries in Dagster: an asset for each sink, their job, what asks for it, and running it from the command line.

They are none of the daily job's: a sink that is down leaves the day complete.
"""
