title: A zone repairs its signatures
why: RFC 4035 section 4.7 bounds how long bad data is remembered: a zone that was repaired works again within minutes.

world usual
zone example.test signed ttl=60
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test
  expired

---
ask www.example.test A
expect SERVFAIL bogus
server ns1.example.test behaves
time passes 5m
ask www.example.test A
expect NOERROR secure
