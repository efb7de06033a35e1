"""The job API in the shape of Microsoft.ImportExport, and live events beside it."""
