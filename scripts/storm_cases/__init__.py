"""The parts of `scripts/storm.py`: kills, corruptions, malformed inputs, full disks, readers during replacement."""
