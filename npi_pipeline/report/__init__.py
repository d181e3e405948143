"""The report of a day: what a person looks at, as one HTML file and as JSON."""
