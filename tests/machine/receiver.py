"""Takes Alertmanager's notifications, and writes a line for each alert to a file: receiver.py FILE"""
import http.server
import json
import sys


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        notification = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(sys.argv[1], "a", encoding="utf-8") as pages:
            for alert in notification["alerts"]:
                summary = alert["annotations"].get("summary", "")
                print(self.path, alert["status"], json.dumps(alert["labels"], sort_keys=True), summary, file=pages)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 9199), Receiver).serve_forever()
