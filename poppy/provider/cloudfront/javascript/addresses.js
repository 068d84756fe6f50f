// The 16-bit groups of an address: two of IPv4, eight of IPv6.
function groups(address) {
    var mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
    var four = (mapped ? mapped[1] : address).split('.');
    if (four.length === 4) {
        return [four[0] * 256 + +four[1], four[2] * 256 + +four[3]];
    }
    var halves = address.split('::'), all = halves[0] ? halves[0].split(':') : [];
    if (halves.length > 1) {
        var tail = halves[1] ? halves[1].split(':') : [];
        while (all.length + tail.length < 8) all.push('0');
        all = all.concat(tail);
    }
    return all.map(function (group) { return parseInt(group, 16); });
}
