//! Names for invented people, firms and deals; some on purpose hard to escape or to encode.

pub(crate) const FIRST: [&str; 32] = [
    "Ines", "Otto", "Maja", "Jürgen", "Łucja", "Ana", "Ravi", "Chloé", "Björn", "Sofia", "Tomás",
    "Yuki", "Olena", "Kwame", "Marta", "Ivan", "Élodie", "Noah", "Zoë", "Piotr", "Amara", "Luis",
    "Greta", "Sinéad", "Hugo", "Mei", "Aisha", "Jan", "Petra", "Marek", "Ida", "Leo",
];

pub(crate) const LAST: [&str; 32] = [
    "Duarte",
    "Lind",
    "O'Neill",
    "Müller",
    "Nowak",
    "Silva",
    "Patel",
    "Dubois",
    "Åkesson",
    "Rossi",
    "García",
    "Tanaka",
    "Kovalenko",
    "Mensah",
    "Horváth",
    "Petrov",
    "Lefèvre",
    "Smith",
    "Visser",
    "Zieliński",
    "Okafor",
    "Herrera",
    "Schmidt",
    "Byrne",
    "Almeida",
    "Chen",
    "Rahman",
    "de Vries",
    "Svoboda",
    "Novák",
    "Holm",
    "Fischer",
];

pub(crate) const FIRM: [&str; 24] = [
    "Lind",
    "Northwind",
    "Blue \"Harbour\"",
    "Kraków Steel",
    "Vértice",
    "Aurora",
    "Quill & Sons",
    "Meridian",
    "Oak\\Elm",
    "Sakura 株",
    "Granite",
    "Lumen",
    "Fjord",
    "Saffron",
    "Delta",
    "Orchid",
    "Baltic",
    "Copper",
    "Zephyr",
    "Harvest",
    "Juniper",
    "Pampa",
    "Tundra",
    "Velvet",
];

pub(crate) const FORM: [&str; 8] =
    ["AB", "GmbH", "Ltd", "S.A.", "Oy", "Inc.", "B.V.", "sp. z o.o."];

pub(crate) const DEAL: [&str; 12] = [
    "rollout",
    "renewal",
    "pilot",
    "expansion",
    "licences",
    "support plan",
    "migration",
    "audit",
    "training",
    "hardware",
    "retainer 2026",
    "proof of concept 🚀",
];

pub(crate) const SUBJECT: [&str; 10] = [
    "Pricing call",
    "Send the offer",
    "Demo",
    "Follow up",
    "Lunch with the \"board\"",
    "Contract review",
    "Kick-off",
    "Check-in",
    "Ask for references",
    "Quarterly review",
];

pub(crate) const ACTIVITY: [&str; 6] = ["call", "meeting", "task", "deadline", "email", "lunch"];

pub(crate) const PRODUCT: [&str; 12] = [
    "Seat licence",
    "Onboarding day",
    "Support hours",
    "Gateway",
    "Sensor",
    "Starter kit",
    "Data export",
    "Workshop",
    "Spare part",
    "Extended warranty",
    "Storage pack",
    "Audit report",
];

pub(crate) const NOTE: [&str; 6] = [
    "<p>Called, will decide next week.</p>",
    "<b>Budget</b> approved by the board",
    "Asked for a discount of 10 % & longer terms",
    "Line one<br>Line two",
    "Prefers e-mail; \"no calls before ten\"",
    "Met at the fair, wants a demo\nand a reference",
];

pub(crate) const FILE: [&str; 6] =
    ["offer.pdf", "contract.docx", "logo.png", "prices.xlsx", "notes.txt", "übersicht.pdf"];

pub(crate) const STREET: [&str; 8] = [
    "Kungsgatan",
    "Rua Augusta",
    "High Street",
    "Hauptstraße",
    "ul. Długa",
    "Gran Vía",
    "Keizersgracht",
    "Mannerheimintie",
];

pub(crate) const CITY: [(&str, &str); 8] = [
    ("Stockholm", "Sweden"),
    ("Lisbon", "Portugal"),
    ("London", "United Kingdom"),
    ("Berlin", "Germany"),
    ("Gdańsk", "Poland"),
    ("Madrid", "Spain"),
    ("Amsterdam", "Netherlands"),
    ("Helsinki", "Finland"),
];

pub(crate) const STAGE: [&str; 8] = [
    "Qualified",
    "Contact made",
    "Demo scheduled",
    "Proposal made",
    "Negotiations started",
    "Verbal yes",
    "Legal",
    "Signature",
];

pub(crate) const PIPELINE: [&str; 6] =
    ["Sales", "Renewals", "Partners", "Enterprise", "Inbound", "Events"];

pub(crate) const CURRENCY: [&str; 4] = ["EUR", "USD", "GBP", "PLN"];
