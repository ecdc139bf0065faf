title: One of two servers has a name that does not exist
why: A typing error in the registry must not stop the zone.

world usual
zone example.test
  @ NS ns1
  @ NS ns.nowhere.test.
  ns1 A 10.0.1.1
  www A 203.0.113.1
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR insecure
