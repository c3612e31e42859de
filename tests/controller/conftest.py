"""The servers that writes are tried on."""

from servers import bare_server as bare_server
from servers import load as load
