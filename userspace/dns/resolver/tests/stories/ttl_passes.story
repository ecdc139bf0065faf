title: Records age and are asked again
why: RFC 1035 section 3.2.1.

world usual
zone example.test signed ttl=300
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
time passes 100s
ask www.example.test A
expect NOERROR secure
expect no queries
expect ttl at most 200
time passes 201s
ask www.example.test A
expect NOERROR secure
expect at least 1 queries
