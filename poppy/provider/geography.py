# SPDX-License-Identifier: Apache-2.0
"""Map names of countries and continents to ISO 3166-1 alpha-2 codes.

The names are the English short names with common variants. Letter case, accents and punctuation
are ignored. Each country belongs to one continent of the United Nations' M49 standard. The
Americas are split in two: countries that are not in M49's South America are in North America.
"""

import unicodedata

_TABLE = """
[Africa]
AO Angola
BF Burkina Faso
BI Burundi
BJ Benin
BW Botswana
CD Democratic Republic of the Congo|DR Congo|Congo-Kinshasa
CF Central African Republic
CG Congo|Republic of the Congo|Congo-Brazzaville
CI Ivory Coast|Cote d'Ivoire
CM Cameroon
CV Cape Verde|Cabo Verde
DJ Djibouti
DZ Algeria
EG Egypt
EH Western Sahara
ER Eritrea
ET Ethiopia
GA Gabon
GH Ghana
GM Gambia
GN Guinea
GQ Equatorial Guinea
GW Guinea-Bissau
IO British Indian Ocean Territory
KE Kenya
KM Comoros
LR Liberia
LS Lesotho
LY Libya
MA Morocco
MG Madagascar
ML Mali
MR Mauritania
MU Mauritius
MW Malawi
MZ Mozambique
NA Namibia
NE Niger
NG Nigeria
RE Reunion
RW Rwanda
SC Seychelles
SD Sudan
SH Saint Helena
SL Sierra Leone
SN Senegal
SO Somalia
SS South Sudan
ST Sao Tome and Principe
SZ Eswatini|Swaziland
TD Chad
TF French Southern Territories
TG Togo
TN Tunisia
TZ Tanzania
UG Uganda
YT Mayotte
ZA South Africa
ZM Zambia
ZW Zimbabwe
[Antarctica]
AQ Antarctica
[Asia]
AE United Arab Emirates
AF Afghanistan
AM Armenia
AZ Azerbaijan
BD Bangladesh
BH Bahrain
BN Brunei
BT Bhutan
CN China
CY Cyprus
GE Georgia
HK Hong Kong
ID Indonesia
IL Israel
IN India
IQ Iraq
IR Iran
JO Jordan
JP Japan
KG Kyrgyzstan
KH Cambodia
KP North Korea
KR South Korea|Korea|Republic of Korea
KW Kuwait
KZ Kazakhstan
LA Laos
LB Lebanon
LK Sri Lanka
MM Myanmar|Burma
MN Mongolia
MO Macau|Macao
MV Maldives
MY Malaysia
NP Nepal
OM Oman
PH Philippines
PK Pakistan
PS Palestine
QA Qatar
SA Saudi Arabia
SG Singapore
SY Syria
TH Thailand
TJ Tajikistan
TL East Timor|Timor-Leste
TM Turkmenistan
TR Turkey|Turkiye
TW Taiwan
UZ Uzbekistan
VN Vietnam|Viet Nam
YE Yemen
[Europe]
AD Andorra
AL Albania
AT Austria
AX Aland Islands
BA Bosnia and Herzegovina
BE Belgium
BG Bulgaria
BY Belarus
CH Switzerland
CZ Czech Republic|Czechia
DE Germany
DK Denmark
EE Estonia
ES Spain
FI Finland
FO Faroe Islands
FR France
GB United Kingdom|UK|Great Britain|Britain
GG Guernsey
GI Gibraltar
GR Greece
HR Croatia
HU Hungary
IE Ireland
IM Isle of Man
IS Iceland
IT Italy
JE Jersey
LI Liechtenstein
LT Lithuania
LU Luxembourg
LV Latvia
MC Monaco
MD Moldova
ME Montenegro
MK North Macedonia|Macedonia
MT Malta
NL Netherlands
NO Norway
PL Poland
PT Portugal
RO Romania
RS Serbia
RU Russia|Russian Federation
SE Sweden
SI Slovenia
SJ Svalbard and Jan Mayen
SK Slovakia
SM San Marino
UA Ukraine
VA Vatican City|Holy See
[North America]
AG Antigua and Barbuda
AI Anguilla
AW Aruba
BB Barbados
BL Saint Barthelemy
BM Bermuda
BQ Caribbean Netherlands
BS Bahamas
BZ Belize
CA Canada
CR Costa Rica
CU Cuba
CW Curacao
DM Dominica
DO Dominican Republic
GD Grenada
GL Greenland
GP Guadeloupe
GT Guatemala
HN Honduras
HT Haiti
JM Jamaica
KN Saint Kitts and Nevis
KY Cayman Islands
LC Saint Lucia
MF Saint Martin
MQ Martinique
MS Montserrat
MX Mexico
NI Nicaragua
PA Panama
PM Saint Pierre and Miquelon
PR Puerto Rico
SV El Salvador
SX Sint Maarten
TC Turks and Caicos Islands
TT Trinidad and Tobago
US United States|USA|United States of America
VC Saint Vincent and the Grenadines
VG British Virgin Islands
VI United States Virgin Islands
[Oceania]
AS American Samoa
AU Australia
CC Cocos Islands|Keeling Islands
CK Cook Islands
CX Christmas Island
FJ Fiji
FM Micronesia
GU Guam
HM Heard Island and McDonald Islands
KI Kiribati
MH Marshall Islands
MP Northern Mariana Islands
NC New Caledonia
NF Norfolk Island
NR Nauru
NU Niue
NZ New Zealand
PF French Polynesia
PG Papua New Guinea
PN Pitcairn
PW Palau
SB Solomon Islands
TK Tokelau
TO Tonga
TV Tuvalu
UM United States Minor Outlying Islands
VU Vanuatu
WF Wallis and Futuna
WS Samoa
[South America]
AR Argentina
BO Bolivia
BR Brazil
BV Bouvet Island
CL Chile
CO Colombia
EC Ecuador
FK Falkland Islands
GF French Guiana
GS South Georgia and the South Sandwich Islands
GY Guyana
PE Peru
PY Paraguay
SR Suriname
UY Uruguay
VE Venezuela
"""


def _normal(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold().replace("&", " and "))
    kept = "".join(c if c.isalnum() else " " for c in decomposed if not unicodedata.combining(c))
    words = kept.split()
    return " ".join("saint" if word == "st" else word for word in words if word != "the")


def _read(table: str) -> dict[str, frozenset[str]]:
    zones: dict[str, set[str]] = {}
    continent = ""
    for line in table.split("\n"):
        if line.startswith("["):
            continent = line.strip("[]")
        elif line:
            code, _, names = line.partition(" ")
            zones.setdefault(_normal(continent), set()).add(code)
            for name in (code, *names.split("|")):
                zones[_normal(name)] = {code}
    return {name: frozenset(codes) for name, codes in zones.items()}


_ZONES = _read(_TABLE)


def country_codes(name: str) -> frozenset[str]:
    """Return the country codes of a ``geography``: a country, a continent or an ISO code.

    Raises:
        KeyError: the country or continent is unknown.
    """
    return _ZONES[_normal(name)]
