"""The words of which made-up providers are made: invented names, real taxonomy codes, the registry's own terms.

Not here: how they are put together (``providers``), nor places (``places``).
"""

from __future__ import annotations

FEMALE_NAMES = (
    "ADA",
    "BEATRIX",
    "CORDELIA",
    "DELPHINE",
    "EUDORA",
    "FLORA",
    "GWENDOLYN",
    "HESTER",
    "IMOGEN",
    "JUNIPER",
    "LEONORA",
    "MARGUERITE",
    "NELL",
    "OCTAVIA",
    "PRIMROSE",
    "ROWENA",
    "SUNNIVA",
    "THEODORA",
    "URSULA",
    "WINIFRED",
)
MALE_NAMES = (
    "ALARIC",
    "BARNABY",
    "CASPIAN",
    "DASHIELL",
    "EMERIC",
    "FITZWILLIAM",
    "GIDEON",
    "HORATIO",
    "IVO",
    "JASPER",
    "LEANDER",
    "MAGNUS",
    "NICODEMUS",
    "OSWIN",
    "PEREGRINE",
    "QUILL",
    "RUFUS",
    "SILAS",
    "TARQUIN",
    "WALDO",
)
SURNAMES = (
    "ALDERWICK",
    "BRAMBLETON",
    "CRANMOOR",
    "DUNNEWEATHER",
    "EVERGLADE",
    "FENNIMORE",
    "GREYFALCON",
    "HOLLOWAY-PIKE",
    "INGLESIDE",
    "JUNIPERO",
    "KETTLEWELL",
    "LARKSPUR",
    "MERRIWINKLE",
    "NIGHTINGALE",
    "O'FALLOWFIELD",
    "PENNYFEATHER",
    "QUILLFEATHER",
    "ROOKHURST",
    "SNOWBERRY",
    "THISTLEDOWN",
    "UNDERBOUGH",
    "VAN DER ZANDE",
    "WHITTLESEY",
    "YARROWBY",
)
STREETS = (
    "LANTERN ST",
    "MAPLE HOLLOW RD",
    "OLD QUARRY AVE",
    "PAPER MILL LN",
    "RIVER BEND DR",
    "SEVEN OAKS BLVD",
    "TWIN PINES PKWY",
    "WINDMILL CT",
)
ORGANIZATION_WORDS = ("BLUEBELL", "CEDARBROOK", "FOXGLOVE", "HARBORLIGHT", "MEADOWLARK", "STARLING", "WILLOWMERE")
TITLES = ("Managing Member", "President", "Chief Executive Officer", "Practice Administrator", "Owner")
CREDENTIALS = ("MD", "M.D.", "DO", "RN", "NP", "PA-C", "Ph.D.", "LCSW", "DDS", "PT, DPT")

_INDIVIDUAL_TAXONOMIES = (
    ("101YM0800X", "Counselor, Mental Health"),
    ("103T00000X", "Psychologist"),
    ("1041C0700X", "Social Worker, Clinical"),
    ("106S00000X", "Behavior Technician"),
    ("1223G0001X", "Dentist, General Practice"),
    ("152W00000X", "Optometrist"),
    ("163W00000X", "Registered Nurse"),
    ("183500000X", "Pharmacist"),
    ("207Q00000X", "Family Medicine"),
    ("207R00000X", "Internal Medicine"),
    ("208000000X", "Pediatrics"),
    ("2084P0800X", "Psychiatry & Neurology, Psychiatry"),
    ("213ES0103X", "Podiatrist, Foot & Ankle Surgery"),
    ("225100000X", "Physical Therapist"),
    ("225X00000X", "Occupational Therapist"),
    # The registry itself leaves the second half of some names empty.
    ("235Z00000X", "Speech-Language Pathologist,  "),
    ("363A00000X", "Physician Assistant"),
    ("363LF0000X", "Nurse Practitioner, Family"),
    ("390200000X", "Student in an Organized Health Care Education/Training Program"),
)
_ORGANIZATION_TAXONOMIES = (
    ("207VE0102X", "Obstetrics & Gynecology, Reproductive Endocrinology"),
    ("225100000X", "Physical Therapist"),
    ("251B00000X", "Case Management"),
    ("251J00000X", "Nursing Care"),
    ("261QR0400X", "Clinic/Center, Rehabilitation"),
    ("282N00000X", "General Acute Care Hospital"),
    ("332B00000X", "Durable Medical Equipment & Medical Supplies"),
)
TAXONOMIES = {"NPI-1": _INDIVIDUAL_TAXONOMIES, "NPI-2": _ORGANIZATION_TAXONOMIES}
# A code that providers still hold and for which the registry has no name any more.
RETIRED_TAXONOMY = ("213ES0131X", None)
TAXONOMY_GROUPS = (
    "193200000X - Multi-Specialty Group",
    "193400000X - Single Specialty Group",
    "193400000X - Multiple Single Specialty Group",
)

# code, desc
IDENTIFIER_KINDS = (
    ("01", "Other (non-Medicare)"),
    ("02", "MEDICARE UPIN"),
    ("04", "MEDICARE ID-Type Unspecified"),
    ("05", "MEDICAID"),
    ("08", "MEDICARE PIN"),
)
IDENTIFIER_ISSUERS = ("BLUE CROSS", "RAILROAD MEDICARE", "STATE LICENSE", "WORKERS COMPENSATION")

# code, type
INDIVIDUAL_NAME_KINDS = (("1", "Former Name"), ("2", "Professional Name"), ("5", "Other Name"))
ORGANIZATION_NAME_KINDS = (("3", "Doing Business As"), ("4", "Former Legal Business Name"), ("5", "Other Name"))

# endpointType, endpointTypeDescription, endpoint
ENDPOINT_KINDS = (
    ("DIRECT", "Direct Messaging Address", "{npi}@direct.{organization}.example"),
    ("FHIR", "FHIR URL", "https://fhir.{organization}.example/R4/{npi}"),
    ("SOAP", "SOAP URL", "https://{organization}.example:14430/soap"),
    ("CONNECT", "CONNECT URL", "https://connect.{organization}.example"),
    ("OTHERS", "Other URL", "https://www.{organization}.example"),
)
# use, useDescription
ENDPOINT_USES = (("DIRECT", "Direct"), ("HIE", "Health Information Exchange (HIE)"))
