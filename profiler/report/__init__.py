"""Print what was found, one file a report: documents in, text out. The only place in this folder that prints."""
