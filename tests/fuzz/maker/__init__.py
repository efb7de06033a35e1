"""Small NTFS volumes with a file of every shape, made from nothing: what the fuzzer mutates."""
