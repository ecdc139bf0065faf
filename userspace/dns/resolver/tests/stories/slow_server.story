title: A server on the other side of the world
why: With 700 ms a way some servers are the only ones: the first timeout must not be the last.

world usual
zone example.test signed
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  delay 900ms

---
ask www.example.test A
expect NOERROR secure
expect within 4s
