"""python tools/dev/page_shot.py URL FILE.png WIDTH HEIGHT dark|light: the page of a running server in Debian's Chromium (HEIGHT 0: all)."""

import base64
import io
import sys
import time

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

url, path, width, height, scheme = sys.argv[1:]
options = webdriver.ChromeOptions()
options.binary_location = "/usr/bin/chromium"
for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
    options.add_argument(argument)
with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as driver:
    phone = int(width) < 500
    size = {"width": int(width), "height": int(height) or 1000, "deviceScaleFactor": 1 + phone, "mobile": phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    driver.get(url)
    time.sleep(5)
    tall = int(height) or driver.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": int(width), "height": tall, "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip})
picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)  # a quarter of the size
