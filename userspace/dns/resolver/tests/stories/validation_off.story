title: Without validation nothing is secure
why: The operator can switch it off.

resolver validation off
world usual
zone example.test signed
  www A 203.0.113.1
  mail A 203.0.113.2
server ns1.example.test 10.0.1.1 serves example.test
  expired

---
ask www.example.test A
expect NOERROR insecure
expect nobody asked DNSKEY
