"""Every operation of cospace that is built (seed 000)."""

from api.cospace import jeye, statistics
from api.http.operation import Operation

OPERATIONS = (
    Operation("cospace.jeye.list", "GET", ("/api/jeye/{host}",), jeye.jeye, "jeye"),
    Operation("cospace.statistics.get", "GET", ("/api/statistics/{period}",), statistics.DAY, "jeye"),
    Operation("cospace.usage.get", "GET", ("/api/usage/{period}",), statistics.MONTH, "jeye"),
)
