"""Files beside the _data of a volume that say how far it is."""

USED = "used"  # its owner and the image's files are there
MAKING = "making"  # filled, and its row is not there yet
