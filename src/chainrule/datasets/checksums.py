"""Checksums (SHA-256) of the files of the named data sets."""

# ruff: noqa: E501 (a checksum beside its path is longer than a line)

from __future__ import annotations

__all__ = ["ARRAYS_SHA256", "PUBLIC_SHA256", "SHA256"]

SHA256 = {
    "binarized_mnist/binarized_mnist_test.amat": "5bc30222e1e7896cbccd1e1db6b28540cc1230f4d2d5473841a5f6cc54be8d38",
    "binarized_mnist/binarized_mnist_train.amat": "79a0312c7389d855cfc97e3812de3998417c5829d8a51543b56a90a91252ae7e",
    "binarized_mnist/binarized_mnist_valid.amat": "7436afc856959075c7787025bb8a4ba2b520b9230ee39667c66aa7dd2819dd68",
    "cs294_2d/distribution.npy": "e28ee3fc16edea32bddb599025ece56081582fe5719e3bc210bf537688e66d97",
    "debd/accidents.test.data.gz": "ad259a9aa560d39d796364b4073b4433c6945e277a6af068469c7c2cd2736b6f",
    "debd/accidents.ts.data.gz": "1b248622e29c4d972bf8248da16105c077cde0fe7e58ab681064539d2069c31b",
    "debd/accidents.valid.data.gz": "7cbaa2fac1fd8d01105ec4390774a325286a92f66048315111b37c6124482dd2",
    "debd/ad.test.data.gz": "93bf7d992a8c1ce9d05d53abd9282b905e7c588e591e00753fe38916575f9b11",
    "debd/ad.ts.data.gz": "16da4a75e3282eaef48f737eef4783cc6cae8610d5b4300f529cca92b1c26ac0",
    "debd/ad.valid.data.gz": "c0c7659ee39c8979553336661d23b5a5a762b8d022cbce080b285a44c14ac4b7",
    "debd/baudio.test.data.gz": "58c075360756615adaeaf490efb75bed5914131cc639608df28b130951f9ff3d",
    "debd/baudio.ts.data.gz": "1648e28dce443af63b27e3c796f3a3c4bc57430a3ed04528a7c27fe6cf202cc1",
    "debd/baudio.valid.data.gz": "78f8a634f424e38e1e390c6fe572e25a88b87629699ce40f377d0b01b0f4a5b4",
    "debd/bnetflix.test.data.gz": "4bd1826fd4cda7408bfd21fdd7f9b5f16981cba22950d48b806cf4e1d27c73d5",
    "debd/bnetflix.ts.data.gz": "a4b93093abcd0b1b0f15ba8c28ad5cb3434e82caef1a68ceed34991d4e367e98",
    "debd/bnetflix.valid.data.gz": "5559ebd9dd6b463ee8022d7777df9e3ca91179a1e605d688632faf9089fb0f66",
    "debd/c20ng.test.data.gz": "ddc88e7f7e47485033b6c357b401f4205f1172353ddcebf3dbc7e3565fbefc82",
    "debd/c20ng.ts.data.gz": "98bd374e6d7221744031273b674e19a53db73fb1ed7f080463b2d49c7433528d",
    "debd/c20ng.valid.data.gz": "4661f6ea5a920b75b8d5e85e727d42dbe72b6f22fae45a3facea76e4612f1da8",
    "debd/cr52.test.data.gz": "5c8b0e5931d13bfcb3f55512236d7ce60531d4bbfa36287095172ec5268d5e91",
    "debd/cr52.ts.data.gz": "b2731b94edb05c6569b835ddd65f50ece399e50a73017eac6939dedc65e90d7f",
    "debd/cr52.valid.data.gz": "442c51c6d6a61734e6854c6b89a0b23884d8d5d3b3a814347a7ebcaf63cc4070",
    "debd/dna.test.data.gz": "82fd0c71e09a583f5ba50e292b2e05f42269f6e7f4804441b4b209bebd269269",
    "debd/dna.ts.data.gz": "ad031ccb08399715cdebf4e9cb90641794e2e4c2a398036f8f7d807d3d0514bb",
    "debd/dna.valid.data.gz": "f770b70ac2f809030749ea3b4bc354edeaf63eb5b7e4b2ee356119efc273f6be",
    "debd/kdd.test.data.gz": "8863708bc3e61a09be013b3def5b4149161546b02729f53c22e4609a171ac863",
    "debd/kdd.ts.data.gz": "9123531abad55b647c6184b9ad13c95c2a2ad557acadedce0ba5013b2cd9ec15",
    "debd/kdd.valid.data.gz": "7473768a69cfc39ab38c03f9ed13428d593f3048688991e8ab6c78fd2ca0c965",
    "debd/kosarek.test.data.gz": "0068dfbe5c9f2186c06b67f66239f155b172d1fe56af80d2a70d4b9704229a22",
    "debd/kosarek.ts.data.gz": "fd69f0b6ccd97ddd66a5b854ae9965f899086505f41785b950e505f83d14cbe3",
    "debd/kosarek.valid.data.gz": "6f493ce6525fafb16275ca3e0e09f8388af54f8fbea5b302c4b1c5e6c742affc",
    "debd/msnbc.test.data.gz": "77ea00490ddd30ac103551c85842f519170698a7ab543419bde4005120b6ac1f",
    "debd/msnbc.ts.data.gz": "0d552846f3a94034569178b9598d21496e4855a82d3220f1a49c4852ae0c03d1",
    "debd/msnbc.valid.data.gz": "e1f31827e72f2b379d28352e4a6e5eaed6152bdc59a7e55dd8ad71a368c0d591",
    "debd/nltcs.test.data.gz": "82ff559f7420f3c8d8e5beb82b7833d2e30d233b5a08cda63e118e6dad750a6f",
    "debd/nltcs.ts.data.gz": "da721d2666af894485a4ffe10fedf651953209399cba5e4a94e072ad767c236a",
    "debd/nltcs.valid.data.gz": "5e661158eb1671f1ca08755ba62cbce7de8689ad16989fc0c8128ae17b4755dc",
    "debd/tmovie.test.data.gz": "edf1c37a4b0ba41bd3262063ee3d8ec74468f3c2dcc98e655d498530e586972a",
    "debd/tmovie.ts.data.gz": "e0d776acd38277474a45de41127a616cd8e9bacaa3207776f6e64f6c11032b1d",
    "debd/tmovie.valid.data.gz": "c48c61aa2260460e6cb37f76c06ca65d95653f3cff29dc00338bd21a12cdcc9a",
    "debd/tretail.test.data.gz": "5de96427ef13f16dd979d270e950df79a897bd587670f27608da630c8225b77e",
    "debd/tretail.ts.data.gz": "1c79c8408c661e9856db1811525626d6a3a40c9244a07fa39811e162e94efa27",
    "debd/tretail.valid.data.gz": "8ac470d0142cf85d43b4c41936aaa3088ea0840ff76891acbe469df6fec47aad",
    "fashion_mnist/t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "fashion_mnist/train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "mnist/t10k-images-idx3-ubyte.gz": "5634745efa576a17e7d4cf5cd9d09123c75e6538e5114267c2d156edaf519341",
    "mnist/train-images-idx3-ubyte.gz": "71524e2cd1ad2968737f7f2f2ff69cbfc32df8ccddff51593f7cb2d4e0eb5b64",
    "uci_continuous/winequality-red.csv": "c9614512e980f1cbd221c796daa97f00c4898c3cd1716863abac60f6cd1a522e",
    "uci_continuous/winequality-white.csv": "659d419fff887f225bf977d20520bb64a64cae203e460087f809721d4430ba27",
}
"""Of each file by its place in the folder that CHAINRULE_DATA names."""

PUBLIC_SHA256 = {
    "mnist/t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "mnist/train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
}
"""Of the download, where it is packed differently from the file above (the content is the same)."""

ARRAYS_SHA256 = {
    "made_uci/adult.npz": "c235ee0ef6e3d9c451618c03ae0dfafb8878f90202f083f343e97078c9272cf2",
    "made_uci/connect4.npz": "0241853265e8cbff45005a3423813c226056735be6ef439c3b97f22126abcd42",
    "made_uci/dna.npz": "0234f6790626468c8f78f58df4df23259cdf45657cea333cf6e4d9b08d09c30b",
    "made_uci/mushrooms.npz": "5f8abadf43e12cf47ef23c249923a14f4b6eeeefee3b5008ebf3309d5942de10",
    "made_uci/nips.npz": "8ceedba5a859574c79a64c5c551c42d1a1407bc6af472597089f1f014c0cbe87",
    "made_uci/ocr_letters.npz": "76a8cfd170bec778ed6eae2e5beb19b43b4165a508af313f409cda4919ed26aa",
    "made_uci/web.npz": "fa367689b7dedf2d16211b1dcd6a176bb3739e1c227799507865b33c50346526",
}
"""Of the arrays in an npz (see `chainrule.datasets.sources.sha256_of_arrays`)."""
