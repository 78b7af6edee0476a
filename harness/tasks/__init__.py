"""Task packs: one folder each, with the generator of its instances; and how a task folder is read and verified."""
