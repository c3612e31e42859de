"""The servers that the reference controller is tried on."""

from servers import Load as Load
from servers import bare_server as bare_server
from servers import load as load
