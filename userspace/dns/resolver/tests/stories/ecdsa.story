title: ECDSA P-256
why: RFC 6605: what most zones use.

world usual
zone example.test nsec3 split algorithm=ecdsa
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test

---
ask www.example.test A
expect NOERROR secure
ask none.example.test A
expect NXDOMAIN secure
