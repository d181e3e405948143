"""The steps of one day, each over the files of the last, and the proofs that nothing was lost. No Dagster here.

Here ``enrichment``, ``tables`` and ``storage`` meet; they know nothing of each other's insides.
"""
