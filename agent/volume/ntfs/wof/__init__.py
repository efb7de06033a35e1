"""Files that Windows' overlay filter (WOF) packed, as ``compact /exe`` does: finding and unpacking them."""

from agent.volume.ntfs.wof.backing import PACKED_STREAM, content_of
from agent.volume.ntfs.wof.chunks import ChunkReader, ChunkTable

__all__ = ["PACKED_STREAM", "ChunkReader", "ChunkTable", "content_of"]
