"""HTTP/1.1 to a Blob service for the requests of which there are many: writes of blocks and blobs.

``heads`` writes the head of a request, ``route`` and ``dial`` lead to the service, ``connection`` sends
a request and reads its ``answer``, and ``pool`` does so in threads on behalf of an event loop.
"""
