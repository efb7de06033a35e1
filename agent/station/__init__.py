"""The daemon: sees drives, finds their jobs, has them worked, keeps the books."""
